/*
 * A web server for tests: says which pod answered, and logs who asked, one line per request, at once.
 *
 *   GET /            pod=NAME node=NODE client=ADDRESS:PORT
 *   GET /bytes/N     N bytes
 *   GET /slow/MS     answers after MS milliseconds
 *   GET /healthz     ok (not logged)
 *
 * Environment: PORT (80), POD_NAME (the host name), NODE_NAME (-). One thread per connection, one request per
 * connection. Ends at once on SIGTERM.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char *pod, *node;

struct connection {
    int socket;
    struct sockaddr_in peer;
};

static void end_now(int number) {
    (void)number;
    _exit(0);
}

static int send_all(int socket, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = send(socket, data, size, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        data += sent;
        size -= (size_t)sent;
    }
    return 0;
}

static void answer(int socket, const char *status, long size) {
    char head[160];
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %ld\r\nConnection: close\r\n\r\n", status, size);
    send_all(socket, head, (size_t)length);
}

static void answer_text(int socket, const char *status, const char *text) {
    answer(socket, status, (long)strlen(text));
    send_all(socket, text, strlen(text));
}

static void *serve(void *argument) {
    struct connection at = *(struct connection *)argument;
    free(argument);
    struct timeval limit = {.tv_sec = 10};
    setsockopt(at.socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char request[4096], path[512] = "", address[INET_ADDRSTRLEN], text[1024];
    size_t used = 0;
    request[0] = 0;
    while (used < sizeof request - 1 && !strstr(request, "\r\n\r\n")) {
        ssize_t got = recv(at.socket, request + used, sizeof request - 1 - used, 0);
        if (got <= 0) break;
        used += (size_t)got;
        request[used] = 0;
    }
    inet_ntop(AF_INET, &at.peer.sin_addr, address, sizeof address);
    int port = ntohs(at.peer.sin_port);
    if (sscanf(request, "GET %511s", path) != 1) {
        if (used > 0) answer_text(at.socket, "400 Bad Request", "only GET is understood\n");
    } else if (strcmp(path, "/healthz") == 0) {
        answer_text(at.socket, "200 OK", "ok\n");
    } else {
        printf("request path=%s client=%s:%d pod=%s node=%s\n", path, address, port, pod, node);
        if (strncmp(path, "/bytes/", 7) == 0) {
            long size = atol(path + 7);
            char block[16384];
            memset(block, 'x', sizeof block);
            answer(at.socket, "200 OK", size);
            for (; size > 0; size -= (long)sizeof block)
                if (send_all(at.socket, block, size < (long)sizeof block ? (size_t)size : sizeof block) < 0) break;
        } else {
            if (strncmp(path, "/slow/", 6) == 0) usleep((useconds_t)atol(path + 6) * 1000);
            snprintf(text, sizeof text, "pod=%s node=%s client=%s:%d\n", pod, node, address, port);
            answer_text(at.socket, "200 OK", text);
        }
    }
    /* read what is left before closing: a close with unread bytes sends a reset, which can eat the answer */
    shutdown(at.socket, SHUT_WR);
    while (recv(at.socket, request, sizeof request, 0) > 0) {
    }
    close(at.socket);
    return 0;
}

int main(void) {
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    pod = getenv("POD_NAME") ? getenv("POD_NAME") : host;
    node = getenv("NODE_NAME") ? getenv("NODE_NAME") : "-";
    int port = getenv("PORT") ? atoi(getenv("PORT")) : 80;
    setvbuf(stdout, 0, _IOLBF, 0);
    signal(SIGTERM, end_now);
    signal(SIGINT, end_now);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = INADDR_ANY};
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 1024) < 0) {
        perror("web");
        return 1;
    }
    printf("web: pod=%s node=%s listening on port %d\n", pod, node, port);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&small, 128 * 1024);
    for (;;) {
        struct connection *next = malloc(sizeof *next);
        socklen_t size = sizeof next->peer;
        next->socket = accept(listener, (struct sockaddr *)&next->peer, &size);
        pthread_t thread;
        if (next->socket < 0) {
            free(next);
        } else if (pthread_create(&thread, &small, serve, next) != 0) {
            close(next->socket);
            free(next);
        }
    }
}
