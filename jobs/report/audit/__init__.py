"""The sections of the page that `audit` leaves, and what comes before them."""
