"""What runs at the server. It sees reports, never patients."""

import numpy as np
from flwr.serverapp import ServerApp

from companion.experiments.federated_learning.flower import FederatedStrategy
from hospitals import NAMES, load, rule

app = ServerApp()


@app.main()
def main(grid, context):
    config = {key: context.run_config[key] for key in ("lr", "steps")}
    width = load(0).X.shape[-1]  # only the number of coefficients, which all agree on
    strategy = FederatedStrategy(rule(config), width, NAMES, config)
    strategy.start(
        grid,
        strategy.start_from(),
        int(context.run_config["rounds"]),
        timeout=float(context.run_config["reply-within"]),
    )
    took_part = np.array([[k in who for k in range(len(NAMES))] for who in strategy.took_part])
    if out := context.run_config["out"]:
        np.savez(
            out, path=np.stack(strategy.path), took_part=took_part, rejected=[text for _, text in strategy.rejected]
        )
