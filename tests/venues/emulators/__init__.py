"""Emulators of real venues on the loopback: REST and WebSockets as the venue speaks them, over the paper venue.

`core.Emulator` is the server and the market; each venue's module is a skin that speaks its wire format.
"""
