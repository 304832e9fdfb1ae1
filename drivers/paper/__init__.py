"""The simulated venue: an exchange in a box on any market model, with virtual money."""
