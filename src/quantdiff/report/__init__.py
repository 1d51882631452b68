"""Values become text: no arithmetic here."""
