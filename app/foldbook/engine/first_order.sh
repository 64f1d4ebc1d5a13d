API=http://127.0.0.1:8000
ACCOUNT=$API/accounts/alice/binance/simulated
JSON='Content-Type: application/json'
curl -sS -H "$JSON" $API/accounts -d '{"user": "alice", "exchange": "binance", "broker": "simulated"}'; echo
curl -sS -H "$JSON" $ACCOUNT/orders -d '{"order_id": "o-1", "strategy_id": "trend", "symbol": "BTCUSDT",
  "side": "BUY", "order_type": "LIMIT", "quantity": "1.5", "limit_price": "64250.1", "time_in_force": "GTC"}'; echo
FILL=$(curl -sS -H "$JSON" $ACCOUNT/execution-reports -d '{"order_id": "o-1", "exec_type": "TRADE",
  "exec_id": "e-1", "last_qty": "1.5", "last_px": "64250"}'); echo "$FILL"
POSITION=$(expr "$FILL" : '.*"position": *\([0-9]*\)')
curl -sS "$ACCOUNT/orders/o-1?min_position=$POSITION"; echo
