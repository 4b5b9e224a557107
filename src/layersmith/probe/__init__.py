"""Instruments: they measure modules and never judge them."""
