#!/usr/bin/perl
# Answers GET /metrics at ADDRESS:PORT with what a command writes. Nothing is needed that Debian's smallest system lacks.
#
#   metrics.pl 0.0.0.0:9854 schedule.sh figures
use strict;
use warnings;
use IO::Socket::INET;

my ($at, @command) = @ARGV;
die "metrics.pl ADDRESS:PORT COMMAND\n" unless @command;
my $listener = IO::Socket::INET->new(LocalAddr => $at, Listen => 16, ReuseAddr => 1) or die "metrics.pl: $at: $@\n";
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = $SIG{INT} = sub { exit 0 };
$SIG{ALRM} = sub { die "too slow\n" if $^S };

# One after the other: nobody may keep the others waiting.
while (1) {
  my $client = $listener->accept or next;
  eval {
    alarm 2;
    my $head = head($client);
    alarm 0;
    my $answer = answer($head);
    alarm 2;
    print $client $answer;
    $client->flush;
  };
  alarm 0;
  close $client;
}

sub head {
  my ($client) = @_;
  my $head = '';
  until ($head =~ /\r?\n\r?\n/) {
    my $read = sysread $client, $head, 1024, length $head;
    die "no request\n" if !$read || length $head > 8192;
  }
  return $head;
}

sub answer {
  my ($head) = @_;
  return response('404 Not Found', "/metrics\n") unless $head =~ m{^GET /metrics[ ?]};
  open my $from, '-|', 'timeout', '8', @command or return response('503 Service Unavailable', "$!\n");
  local $/;
  my $said = <$from>;
  return close $from ? response('200 OK', $said) : response('503 Service Unavailable', "it can't be found out\n");
}

sub response {
  my ($status, $body) = @_;
  my $length = length $body;
  return "HTTP/1.1 $status\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: $length\r\nConnection: close\r\n\r\n$body";
}
