"""How accurate encoders are for the time that their frames wait for later frames."""
