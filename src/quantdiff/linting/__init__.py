"""Known trouble in a file and in the model that it was made from: findings with stable codes."""
