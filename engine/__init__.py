"""The trading engine: kernel, input and output, what runs, and the offline lab."""
