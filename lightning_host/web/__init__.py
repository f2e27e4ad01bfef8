"""What every page and every API of the host shares."""
