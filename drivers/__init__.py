"""One package for each venue, and the transport they share."""
