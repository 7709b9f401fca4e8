"""Moving a whole registry from one database to another, by a file of JSON lines."""
