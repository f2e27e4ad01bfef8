"""Paying: attempted once, followed until it is known how it ended, never made twice."""
