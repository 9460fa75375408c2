#!/bin/sh
# Any program in any language: its last printed number is its result. Here a program in awk.
set -e
folder=$(mktemp -d)
cat > "$folder/train.awk" <<'AWK'
BEGIN { print (log(rate) + 3) ^ 2 + (kind == "flat" ? 1 : p / 10) }
AWK
metaloop tune --param 'rate=float(1e-3,1,log)' --param 'kind=cat(round,flat)' --param 'p=int(1,4,when:kind=round)' \
    --budget 20 --seed 1 --store "$folder/study.db" \
    -- awk '-vrate={rate}' '-vkind={kind}' '-vp={p}' -f "$folder/train.awk"
metaloop show "$folder/study.db"
metaloop why "$folder/study.db"
metaloop export "$folder/study.db" --format csv | head -3
rm -r "$folder"
