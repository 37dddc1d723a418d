# Kills what a worker of `benchmarks.local_cluster` leaves behind: sh local_cluster_guard.sh PID MARK
#
# It waits for its standard input to close. The launcher closes it once the worker has ended, and it
# also closes when the launcher ends, even by SIGKILL. This process is in another process group, so it
# can kill the whole group of the worker. With a /proc it also kills processes that have left the
# group, which it finds by the mark in their environment, and prints their names.
trap "" PIPE
read line
kill -s KILL -- "-$1"
for file in $(grep -ls "$2" /proc/[0-9]*/environ); do
  number=${file#/proc/}
  number=${number%/environ}
  name=$(cat "/proc/$number/comm")
  kill -s KILL "$number" && echo "$name, process $number"
done
