"""What runs in a hospital."""

from stepsize.flower import client_app

from hospitals import load, rule

app = client_app(load, rule)
