"""The engine as processes: its object graph, its server, what starts it and keeps it running."""
