"""How far two arrays are apart, one row a sample, in one pass: for the process that has them both in memory."""
