"""What an exit's logits are scaled by, so that it says how often the full model answers the same."""

from dataclasses import dataclass

from model.errors import ParameterError


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """A temperature for all names of an answer, or a temperature and a bias for each of them.

    Attributes:
        temperatures: what confidence is divided by: (1,), or (K,) by name.
        biases: what is then added to the logarithm of the odds of each name, (K,); () for nothing.
    """

    temperatures: tuple[float, ...] = (1.0,)
    biases: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Take lists for tuples.

        Raises:
            ParameterError: if there are not as many of both, where there is more than one temperature.
        """
        for name in ("temperatures", "biases"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        if len(self.temperatures) != (len(self.biases) or 1):
            raise ParameterError(
                f"`temperatures` has {len(self.temperatures)} values, and `biases` {len(self.biases)}; give "
                "one temperature alone, or one of each by name"
            )

    @classmethod
    def by(cls, temperature: float) -> "Scaling":
        """Return the scaling by one temperature.

        >>> Scaling.by(2)
        Scaling(temperatures=(2.0,), biases=())
        """
        return cls(temperatures=(temperature,))

    @property
    def temperature(self) -> float:
        """The temperature for all names.

        Raises:
            ParameterError: if there is one for each name.
        """
        if self.biases:
            raise ParameterError("`biases` are of sets of labels; give one temperature to any other answer")
        return self.temperatures[0]

    def __str__(self) -> str:
        """Return the temperatures, for people.

        >>> str(Scaling.by(1.5)), str(Scaling(temperatures=(0.8, 2, 1.5), biases=(0.1, 0, -1)))
        ('1.50', '0.80 to 2.00')
        """
        if not self.biases:
            return f"{self.temperatures[0]:.2f}"
        return f"{min(self.temperatures):.2f} to {max(self.temperatures):.2f}"


# Confidence as it is.
UNSCALED = Scaling()
