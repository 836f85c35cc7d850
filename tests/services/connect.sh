#!/usr/bin/env bash
# Kafka Connect (a distributed worker, exactly-once for sources) with Debezium's PostgreSQL connector, from Maven Central jars only.
#   connect.sh install   download jars (needs java >= 17, mvn)
#   connect.sh guard     run in the foreground until standard input ends (what the tests use)
# Env: CONNECT_FOLDER (data and logs; base.properties in it is the worker's configuration)  CONNECT_PORT  KAFKA_BOOTSTRAP
#      CONNECT_PLUGINS (further folders of plugins, comma-separated)
#      KAFKA_VERSION (4.3.1)  DEBEZIUM_VERSION (3.7.0.Final)  KAFKA_BASE (.services in the repository)  MVN_ARGS (for mvn)
set -euo pipefail
KAFKA_VERSION=${KAFKA_VERSION:-4.3.1}
DEBEZIUM_VERSION=${DEBEZIUM_VERSION:-3.7.0.Final}
KAFKA_BASE=${KAFKA_BASE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.services}
LIBS=$KAFKA_BASE/connect-$KAFKA_VERSION
PLUGINS=$KAFKA_BASE/plugins-debezium-$DEBEZIUM_VERSION

say() { printf '%s\n' "$*" >&2; }

copy() { # FOLDER group:artifact:version...: the artifacts with all they need at run time, or nothing
  local target=$1 one; shift
  [ -f "$target/.complete" ] && return
  mkdir -p "$KAFKA_BASE"
  local work; work=$(mktemp -d "$KAFKA_BASE/install.XXXXXX")
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>local.harness</groupId><artifactId>connect</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
    for one; do
      IFS=: read -r group artifact version <<<"$one"
      echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
    done
    echo '</dependencies></project>'
  } > "$work/pom.xml"
  say "downloading $* (once) ..."
  # shellcheck disable=SC2086
  (cd "$work" && mvn -B -q dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/libs" ${MVN_ARGS:-}) \
    || { rm -rf "$work"; say "Maven could not download $*"; return 1; }
  touch "$work/libs/.complete"
  [ -f "$target/.complete" ] || { rm -rf "$target"; mkdir -p "$(dirname "$target")"; mv -T "$work/libs" "$target" 2>/dev/null || [ -f "$target/.complete" ]; }
  rm -rf "$work"
}

install() {
  copy "$LIBS" "org.apache.kafka:connect-runtime:$KAFKA_VERSION" org.slf4j:slf4j-simple:1.7.36
  copy "$PLUGINS/postgres" "io.debezium:debezium-connector-postgres:$DEBEZIUM_VERSION"
}

configure() {
  mkdir -p "$CONNECT_FOLDER"
  # the properties that were given, and behind them, where they win, what is of this machine
  cat "$CONNECT_FOLDER/base.properties" - > "$CONNECT_FOLDER/worker.properties" <<P
bootstrap.servers=$KAFKA_BOOTSTRAP
listeners=http://127.0.0.1:$CONNECT_PORT
plugin.path=$PLUGINS${CONNECT_PLUGINS:+,$CONNECT_PLUGINS}
P
}

guard() {
  exec 3<&0
  install </dev/null
  configure
  java -Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel="${CONNECT_LOG:-warn}" \
    -Dorg.slf4j.simpleLogger.showDateTime=true -cp "$LIBS/*" org.apache.kafka.connect.cli.ConnectDistributed \
    "$CONNECT_FOLDER/worker.properties" </dev/null >>"$CONNECT_FOLDER/worker.log" 2>&1 3<&- &
  local worker=$!
  echo "$worker" > "$CONNECT_FOLDER/connect.pid"
  ( while read -r _ <&3; do :; done; kill -9 "$worker" 2>/dev/null ) >/dev/null 2>&1 &
  local watch=$!
  local code=0; wait "$worker" || code=$?
  kill "$watch" 2>/dev/null || true
  return "$code"
}

case ${1:-} in
  install) install ;;
  guard) guard ;;
  *) say "usage: $0 install|guard"; exit 2 ;;
esac
