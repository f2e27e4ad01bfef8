"""Flashcards: cards with a balance."""
