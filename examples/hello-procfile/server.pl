#!/usr/bin/perl
# A web server of twenty lines, in a language weir has no buildpack for.
use strict;
use warnings;
use Socket;

$| = 1;
my $port = $ENV{PORT} || 8080;
my ($name) = ($ENV{VCAP_APPLICATION} || '') =~ /"application_name"\s*:\s*"([^"]*)"/;
$name ||= 'hello-procfile';
$SIG{TERM} = sub { exit 0 };
$SIG{CHLD} = 'IGNORE';

socket(my $server, PF_INET, SOCK_STREAM, getprotobyname('tcp')) or die "socket: $!";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, 1);
bind($server, sockaddr_in($port, INADDR_ANY)) or die "bind: $!";
listen($server, SOMAXCONN) or die "listen: $!";
print "listening at port $port\n";

while (1) {
    accept(my $client, $server) or next;
    if (!fork) {
        while (defined(my $line = <$client>)) { last if $line =~ /^\r?\n$/ }
        my $body = "Hello from $name, instance " . ($ENV{CF_INSTANCE_INDEX} || 0) . "\n";
        print $client "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n",
            'Content-Length: ', length $body, "\r\nConnection: close\r\n\r\n$body";
        close $client;
        exit 0;
    }
    close $client;
}
