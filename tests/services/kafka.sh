#!/usr/bin/env bash
# One real Apache Kafka broker (KRaft) from Maven Central's jars; no container, no tarball.
#   kafka.sh install   download the jars (needs Java 17 and Maven)
#   kafka.sh start     format storage (first time) and start; returns when the broker answers
#   kafka.sh stop      stop, keep data        kafka.sh wipe   stop and delete data
#   kafka.sh status    print state
#   kafka.sh guard     run in the foreground until standard input ends: the broker cannot outlive whoever holds the other
#                      end of the pipe, however that process dies (what the tests use)
#   kafka.sh tool <org.apache.kafka.tools.X|topics|groups|configs|dump> args...
# Env: KAFKA_PORT (9092) KAFKA_CONTROLLER_PORT (port+1) KAFKA_VERSION (4.3.1) KAFKA_HEAP (512m)
#      KAFKA_BASE (.services in the repository)   KAFKA_DATA ($KAFKA_BASE/data-$KAFKA_PORT)
#      KAFKA_EXTRA (file appended to server.properties; the last of two equal keys counts)
#      KAFKA_FORMAT_ARGS (for the storage tool, e.g. --add-scram ...)   MVN_ARGS (for mvn, e.g. -s settings.xml)
set -euo pipefail
KAFKA_VERSION=${KAFKA_VERSION:-4.3.1}
KAFKA_PORT=${KAFKA_PORT:-9092}
KAFKA_CONTROLLER_PORT=${KAFKA_CONTROLLER_PORT:-$((KAFKA_PORT + 1))}
KAFKA_HEAP=${KAFKA_HEAP:-512m}
KAFKA_BASE=${KAFKA_BASE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.services}
KAFKA_DATA=${KAFKA_DATA:-$KAFKA_BASE/data-$KAFKA_PORT}
LIBS=$KAFKA_BASE/libs-$KAFKA_VERSION
PIDFILE=$KAFKA_DATA/kafka.pid
CLUSTER_ID=${KAFKA_CLUSTER_ID:-MkU3OEVBNTcwNTJENDM2Qk}

say() { printf '%s\n' "$*" >&2; }

install() {
  [ -f "$LIBS/.complete" ] && return
  mkdir -p "$KAFKA_BASE"
  local work; work=$(mktemp -d "$KAFKA_BASE/install.XXXXXX")
  cat > "$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local.harness</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
  say "downloading Apache Kafka $KAFKA_VERSION (about 100 MB, once) ..."
  # shellcheck disable=SC2086
  (cd "$work" && mvn -B -q dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/libs" ${MVN_ARGS:-}) \
    || { rm -rf "$work"; say "Maven could not download Apache Kafka $KAFKA_VERSION"; return 1; }
  touch "$work/libs/.complete"
  # two installs at once: whoever renames first wins, both end with a complete folder
  [ -f "$LIBS/.complete" ] || { rm -rf "$LIBS"; mv -T "$work/libs" "$LIBS" 2>/dev/null || [ -f "$LIBS/.complete" ]; }
  rm -rf "$work"
  say "installed $(find "$LIBS" -name '*.jar' | wc -l) jars, $(du -sh "$LIBS" | cut -f1): $LIBS"
}

alive() { [ -f "$PIDFILE" ] && kill -0 "$(cat "$PIDFILE")" 2>/dev/null; }

jrun() { java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$LIBS/*" -Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG:-warn}" "$@"; }

configure() {
  mkdir -p "$KAFKA_DATA"
  cat > "$KAFKA_DATA/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$KAFKA_CONTROLLER_PORT
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$KAFKA_DATA/logs
auto.create.topics.enable=false
num.partitions=${KAFKA_PARTITIONS:-3}
# one node: every internal topic has one replica and few partitions (fast start)
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
background.threads=2
# a killed broker may come back this soon
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
P
  if [ -n "${KAFKA_EXTRA:-}" ]; then cat "$KAFKA_EXTRA" >> "$KAFKA_DATA/server.properties"; fi
}

prepare() {
  install
  configure
  [ -f "$KAFKA_DATA/logs/meta.properties" ] && return
  # shellcheck disable=SC2086
  jrun -Xmx256m kafka.tools.StorageTool format -t "$CLUSTER_ID" -c "$KAFKA_DATA/server.properties" ${KAFKA_FORMAT_ARGS:-} \
    >"$KAFKA_DATA/format.log" 2>&1 || { cat "$KAFKA_DATA/format.log" >&2; return 1; }
}

launch() { # standard input and output are the caller's business; the pid file holds the java process
  "$@" java -Xms64m "-Xmx$KAFKA_HEAP" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
    -Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG:-warn}" -Dorg.slf4j.simpleLogger.showDateTime=true \
    -Dorg.slf4j.simpleLogger.log.kafka.coordinator.transaction.TransactionMarkerChannelManager=info \
    ${KAFKA_JVM:-} -cp "$LIBS/*" kafka.Kafka "$KAFKA_DATA/server.properties" \
    </dev/null >>"$KAFKA_DATA/server.log" 2>&1 &
  echo $! > "$PIDFILE"
}

start() {
  alive && { say "already running, pid $(cat "$PIDFILE")"; return; }
  prepare
  launch setsid
  for _ in $(seq 1 300); do
    alive || { say "broker died:"; tail -20 "$KAFKA_DATA/server.log" >&2; return 1; }
    if (exec 3<>"/dev/tcp/127.0.0.1/$KAFKA_PORT") 2>/dev/null; then say "ready on 127.0.0.1:$KAFKA_PORT, pid $(cat "$PIDFILE")"; return; fi
    sleep 0.1
  done
  say "not ready after 30 s"; return 1
}

guard() {
  exec 3<&0
  prepare </dev/null
  launch env
  local broker; broker=$(cat "$PIDFILE")
  ( while read -r _ <&3; do :; done; kill -9 "$broker" 2>/dev/null ) >/dev/null 2>&1 &
  local watch=$!
  local code=0; wait "$broker" || code=$?
  kill "$watch" 2>/dev/null || true
  return "$code"
}

stop() {
  alive || { rm -f "$PIDFILE"; return 0; }
  local p; p=$(cat "$PIDFILE")
  kill "$p"
  for _ in $(seq 1 150); do kill -0 "$p" 2>/dev/null || { rm -f "$PIDFILE"; return; }; sleep 0.1; done
  kill -9 "$p" || true; rm -f "$PIDFILE"
}

tool() {
  local c=$1; shift
  case $c in
    topics) c=org.apache.kafka.tools.TopicCommand ;;
    groups) c=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
    configs) c=kafka.admin.ConfigCommand ;;
    dump) c=org.apache.kafka.tools.DumpLogSegments ;;
  esac
  jrun -Xmx256m "$c" "$@"
}

case ${1:-} in
  install) install ;;
  start) start ;;
  guard) guard ;;
  stop) stop ;;
  wipe) stop; rm -rf "$KAFKA_DATA" ;;
  status) if alive; then echo "running $(cat "$PIDFILE") rss_kb=$(awk '/VmRSS/{print $2}' "/proc/$(cat "$PIDFILE")/status")"; else echo stopped; exit 1; fi ;;
  tool) shift; tool "$@" ;;
  *) say "usage: $0 install|start|guard|stop|wipe|status|tool"; exit 2 ;;
esac
