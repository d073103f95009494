"""What commands and transforms take where nothing is said. Light: nothing here imports Arrow or torch."""

# Minutes of work on a CPU, so that progress shows and a killed job loses little.
ROWS_PER_SHARD = 10_000
# Share of the texts that training never sees.
CALIBRATION_FRACTION = 0.1
# Share of the texts that are answered at full depth too.
SHADOW_FRACTION = 0.001
