"""``make bench``: Foldbook's speed, as ratios to what the same machine does at the same time.

Every ratio is taken between things that ran in turns, in short rounds, on one fresh PostgreSQL with the product's own
durable settings. A machine that slows down for a while then slows both sides. One module per measurement:

==================== =================================================================================
floor                pgbench: one INSERT of one such event per transaction
bus                  the command bus in one process, callers in a closed loop; also under a snapshot
http                 ``POST .../orders`` over 128 connections to ``foldbook serve``
bulk                 ``POST /commands``, NDJSON
peer_axon            the same order placed with Axon Framework (Java)
peer_eventsourcing   the same order placed on an application of the package ``eventsourcing``
deciding             deciding and folding one fill
latency              from the append until a reader has read the row, at half of full load
small_rounds         a round of each projection over a few events
rebuild              each projection from a long log, and ``orders`` row by row in Python
pages                a page anywhere in a long log, and a type that never occurs
loading              the state of a very long account
audit                ``foldbook audit verify``
growth               the cost of an append to a long log and to a short one
memory               the engine process after very many commands
brokers_venue        the simulated venue's engine: orders, cancels, quotes and trades, without its server
brokers              the gateway between the log and the venue: how soon an order is sent and a trade read, how many
streams              ``/stream/events``: how soon events are seen, and what 500 clients cost the writers
==================== =================================================================================

``targets.py`` says what each figure must reach, ``readme.py`` generates README's table from the results, and
``against.py`` compares this checkout with another one.
"""
