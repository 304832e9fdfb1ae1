"""Work that takes more than one order: soft orders, incremental orders, position targets, replacements.

`WorkBook` is the door: the execution engine starts work through it and passes it the events of orders that carry a
`parent`. Each kind of work is a synchronous state machine that acts only through an `OrderDesk`.
"""
