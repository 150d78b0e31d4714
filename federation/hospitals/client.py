"""What runs in a hospital."""

from companion.experiments.federated_learning.flower import client_app
from hospitals import load, rule

app = client_app(load, rule)
