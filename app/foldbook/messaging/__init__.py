"""Messages between processes: RabbitMQ and what Foldbook says over it."""
