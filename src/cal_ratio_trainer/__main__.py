"""`python -m cal_ratio_trainer` is `cr_trainer`."""

from cal_ratio_trainer.cli.main import main

if __name__ == "__main__":
    main()
