"""What every kind of answer saves on real text, and how often its promise is broken."""
