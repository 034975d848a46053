"""Showing a program to people: drawings of graphs and of the kernels they become."""
