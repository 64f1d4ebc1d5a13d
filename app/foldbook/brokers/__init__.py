"""How orders leave an account and reports come back: the port to brokers, and the decisions of the gateway."""
