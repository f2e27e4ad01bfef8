"""`flash-driver doctor`: what works with a server and token, and what to do about the rest."""
