"""What a program that uses Foldbook imports: so far, the inbox of a consumer of events."""
