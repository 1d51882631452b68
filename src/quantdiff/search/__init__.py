"""What is searched for: the smallest model that still shows a fault, and the input that shows the largest one."""
