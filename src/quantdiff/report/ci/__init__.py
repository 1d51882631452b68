"""What a command checked, case by case, and the forms in which CI servers read that: JUnit XML, GitHub's commands."""
