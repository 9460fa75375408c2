"""IS IT WORTH PAYING FOR? Evidence, prices, rent or buy, accounts, forecasts, schedulers, and a bench of regret.

Whatever switches while it runs asks one question: is the better method worth its price, when both are known only by
estimate? A controller is a recipe with three methods over a state, ``init / decide / observe``. Costs are in the
process's own unit (calls, iterations, evaluations) or CPU time, never wall-clock time.
"""

from metaloop.control.account import Account, AccountState
from metaloop.control.evidence import Evidence
from metaloop.control.forecast import Forecast, forecast
from metaloop.control.price import Price
from metaloop.control.regret import Replay, Trace, hindsight, replay
from metaloop.control.rent_or_buy import RentOrBuy, RentState
from metaloop.control.schedulers import Credit, Halving, RisingBandit, Scheduler, SchedulerState, Shares

__all__ = [
    "Account",
    "AccountState",
    "Credit",
    "Evidence",
    "Forecast",
    "Halving",
    "Price",
    "RentOrBuy",
    "RentState",
    "Replay",
    "RisingBandit",
    "Scheduler",
    "SchedulerState",
    "Shares",
    "Trace",
    "forecast",
    "hindsight",
    "replay",
]
