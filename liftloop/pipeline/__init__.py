"""One plain function a step: frames and settings in, a frozen dataclass out. Production's tasks and
``liftloop backtest`` both call these, so nothing is decided twice."""
