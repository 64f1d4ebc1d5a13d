API=http://127.0.0.1:8000
ACCOUNT=$API/accounts/alice/binance/simulated
KEY=$(cat ~/.local/share/foldbook/operator.key /var/lib/foldbook/operator.key 2>/dev/null | head -n 1)
call() { printf 'Authorization: Bearer %s\nContent-Type: application/json\n' "$KEY" | curl -sS -H @- "$@"; }
call $API/accounts -d '{"user": "alice", "exchange": "binance", "broker": "simulated"}'; echo
call $ACCOUNT/orders -d '{"order_id": "o-1", "strategy_id": "trend", "symbol": "BTCUSDT",
  "side": "BUY", "order_type": "LIMIT", "quantity": "1.5", "limit_price": "64250.1", "time_in_force": "GTC"}'; echo
until ORDER=$(call $ACCOUNT/orders/o-1); echo "$ORDER" | grep '"FILLED"'; do
  echo "$ORDER" | grep -o '"status": *"[A-Z_]*"\|"cum_qty": *"[0-9.]*"' | tr '\n' ' '; echo; sleep 0.3
done
call $ACCOUNT/positions/BTCUSDT/history; echo
