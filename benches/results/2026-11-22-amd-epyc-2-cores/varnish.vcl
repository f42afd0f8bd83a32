# Varnish: storage in memory (-s malloc), one pool of threads for each core, nobody reads its log.
# The decision is made here, before the built-in rules, so that they cost nothing.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "49029";
}

sub vcl_recv {
    if (req.url ~ "^/pass/") {
        return (pass);
    }
    return (hash);
}
