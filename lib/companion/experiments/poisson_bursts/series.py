"""The two real series: pedestrians in Auckland hour by hour, around the lockdowns, and deaths from cholera day by day in 1849."""

from typing import NamedTuple

import numpy as np

from companion.experiments.datasets import load

from .streams import Stream, calendar_stream


class Streets(NamedTuple):
    """Hourly counts (T, sensors) of the sensors that never fell silent for more than a day; date, hour and weekend (T,)."""

    counts: np.ndarray
    date: np.ndarray
    hour: np.ndarray
    weekend: np.ndarray

    def stream(self, constant: bool = True) -> Stream:
        """The counts by the hours of working days and of weekends, and the constant 1 if wanted."""
        return calendar_stream(self.counts, self.hour, self.weekend, constant)

    @property
    def spans(self) -> dict[str, np.ndarray]:
        """The year of tuning, the week after the first lockdown, and all that follows the year: which hours, (T,)."""
        new_year, lockdown, week_later = map(np.datetime64, ("2020-01-01", "2020-03-26", "2020-04-02"))
        return {
            "2019, warm-up and tuning": self.date < new_year,
            "first week of lockdown": (self.date >= lockdown) & (self.date < week_later),
            "2020-21": self.date >= new_year,
        }


def auckland(first: int, last: int) -> Streets:
    """The hours from the `first` up to the `last`, counted from the beginning of 1 January 2019."""
    city = load("auckland_pedestrians")
    counts = city["counts"][first:last, city["silence"] <= 24]
    return Streets(counts, *(city[key][first:last] for key in ("date", "hour", "weekend")))


def cholera() -> Stream:
    """Deaths of every day of 1849, one member, without features."""
    deaths = load("cholera_1849")["deaths"]
    return Stream(np.ones((len(deaths), 1, 1)), deaths[:, None])
