"""The panes of the desk, and the Line API base that they are built on."""
