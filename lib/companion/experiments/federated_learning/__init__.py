"""Clients of different noise, rules of aggregation, hospitals, and a real federation."""
