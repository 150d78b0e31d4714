"""A small transformer, and the rates at which Adam trains its layers."""
