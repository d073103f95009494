from tests.jobs.undrawn_plots import undrawn_plots

__all__ = ["undrawn_plots"]
