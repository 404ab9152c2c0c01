%% What RabbitMQ 4.3.6 lacks when a node is cut off and comes back alive (docs/scale.md, "A node that is cut off").
%% Evaluated as the node starts: -eval ok=file:eval("…/guard.erl"). `city doctor` sees it as an application city_guard.
%%
%% 1. MQTT connections of this node are closed when such a node is there again. RabbitMQ numbers what a connection writes
%%    to a stream and takes a lower number for a repetition. Messages to a node that is cut off vanish, later ones reach it
%%    as it comes back; were it elected then, what vanished would be sent again under its lower numbers, confirmed and not
%%    written. A device that connects anew begins a numbering of its own. For a node that died nothing is closed.
%% 2. Whoever stops hearing a node tells the others, which let go of it at once. A replica that knows earlier than the
%%    coordinator of its streams that its leader is gone is started again and again, and then not for five seconds.

Life = fun(Node) -> try erpc:call(Node, erlang, system_info, [creation], 1000) catch _:_ -> unknown end end.

Close = fun(Node) ->
    try rabbit_mqtt:close_local_client_connections(Node) of
        {ok, Count} -> logger:warning("city_guard: ~ts was cut off and is back; closed ~b MQTT connections", [Node, Count])
    catch _:_ -> ok %% no MQTT yet: nobody to close
    end
end.

Watch = fun Watch(Lives) ->
    receive
        {nodeup, Node, _} ->
            Now = Life(Node),
            Now =:= maps:get(Node, Lives, none) andalso Close(Node),
            Watch(if Now =:= unknown -> Lives; true -> Lives#{Node => Now} end);
        {nodedown, Node, [{nodedown_reason, net_tick_timeout}]} ->
            [erlang:send({city_guard, Other}, {silent, Node}, [noconnect]) || Other <- nodes()],
            Watch(Lives);
        {silent, Node} ->
            erlang:disconnect_node(Node),
            Watch(Lives);
        {nodedown, _, _} ->
            Watch(Lives)
    end
end.

Begin = fun Begin() ->
    case is_alive() of
        true ->
            ok = net_kernel:monitor_nodes(true, [nodedown_reason]),
            Watch(#{Node => Life(Node) || Node <- nodes()});
        false -> %% RabbitMQ gives itself its name a moment later
            timer:sleep(100),
            Begin()
    end
end.

spawn(fun() ->
    register(city_guard, self()),
    process_flag(priority, high),
    Begin()
end).

ok = application:load({application, city_guard, [
    {description, "closes MQTT connections after a cut"}, {vsn, "1"}, {modules, []}, {registered, []},
    {applications, [kernel, stdlib]}
]}).
ok = application:start(city_guard).
