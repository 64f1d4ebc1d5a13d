"""``make bench``: Foldbook's speed as ratios to what the same machine does at the same time.

Every ratio is taken between things that ran in turns, in short rounds, on one fresh PostgreSQL with the product's own
durable settings, so that a machine that gets slower for a while slows both sides. One module per measurement:

==================== =================================================================================
floor                pgbench: one INSERT of one such event per transaction
bus                  the command bus in one process, callers in a closed loop; also under a snapshot
http                 ``POST .../orders`` over 128 connections to ``foldbook serve``
bulk                 ``POST /commands``, NDJSON
peer_eventsourcing   the same order placed on an application of the package ``eventsourcing``
rebuild              the ``orders`` projection from a long log, and the same row by row in Python
latency              from the append until a reader has read the row, at half of full load
growth               the cost of an append to a long log and to a short one
memory               the engine process after very many commands
==================== =================================================================================
"""
