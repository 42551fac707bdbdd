"""What servers of ours are started with."""

import random
import socket

from chiffon_site.embedded.processes import free_port


def test_a_free_port_is_none_that_a_connection_of_somebody_else_may_take_before_its_server_starts():
    lowest = 32768  # of the ports that Linux gives to outgoing connections; elsewhere it is higher
    found = [free_port() for _ in range(20)]
    assert all(1024 < port < lowest for port in found)
    for port in found:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_two_programs_with_the_same_seed_do_not_draw_the_same_port():
    drawn = set()
    for _ in range(3):
        random.seed(7)
        drawn.add(free_port())
    assert len(drawn) > 1
