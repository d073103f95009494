"""How often promises are broken, by redrawing calibrations from populations whose every answer is known."""
